"""Boards without a microcontroller, behind a serial port."""
