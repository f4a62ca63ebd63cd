"""tunebook as `pip install tunebook` brings it: a program, and this package, through which Python finds it."""
