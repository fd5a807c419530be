"""The page in the browser: its site, made and served."""
