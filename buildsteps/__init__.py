"""What build.py does, a file for each step.

Standard library only: it runs before anything is installed.
"""
