"""The pages in a real browser (headless Chromium): what no test of answers and texts can see."""
