"""Notebook 11: 11 Did it work?"""
