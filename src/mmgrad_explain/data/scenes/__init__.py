"""Generated scenes with exact masks of every edit."""
