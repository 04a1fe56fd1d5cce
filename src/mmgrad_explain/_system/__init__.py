"""What is between the package and the machine: files, terminals, devices, progress. For the package's own use."""
