"""A page to try the method on: its parts, none of which is imported before the page is asked for."""
