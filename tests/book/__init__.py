"""The ledger's rules, the book, and the database under it: also against crashes, full disks and attackers."""
