"""The command line ``mmgrad-explain``, one file or folder for each command."""
