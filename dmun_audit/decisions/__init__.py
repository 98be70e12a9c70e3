"""Decides the pooled claims and the verdict of an audit. Pure functions of records."""
