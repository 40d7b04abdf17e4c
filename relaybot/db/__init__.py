"""The database: its port, its dialects, its numbered migrations. The only place where SQL dialects differ."""
