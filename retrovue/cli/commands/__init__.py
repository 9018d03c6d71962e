"""What the commands are called and which options they take; nothing here may be slow to import."""
