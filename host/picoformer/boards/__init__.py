"""Boards on a serial port: put models on them and run them."""
