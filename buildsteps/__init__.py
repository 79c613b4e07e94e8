"""The steps of build.py, a file for each.

Standard library only: it runs before anything is installed.
"""
