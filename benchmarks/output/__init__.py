"""What a run leaves behind: a table, Markdown and plots."""
