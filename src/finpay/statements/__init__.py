"""The past of an account: its balance at a moment, and its statements.

Reads only. The entries of a closed period never change, so neither does anything here.
"""
