"""Reference pages in Markdown, made from the program itself, so that they say what it does."""
