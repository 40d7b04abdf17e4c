"""The service: relay, bot, pages and commands. Words and ports at the bottom, the roof (`app`, `cli`, `web`) on top."""
