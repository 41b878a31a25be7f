"""Conversations that are kept: whose they are stands in every question to the database."""
