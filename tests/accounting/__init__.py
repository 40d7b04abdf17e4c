"""What may be published of the book, and what may not."""
