"""The output of a run: a table, Markdown and plots."""
