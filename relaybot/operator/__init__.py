"""What an operator can ask of the books and do to them. Each answer is plain data, for a table or JSON."""
