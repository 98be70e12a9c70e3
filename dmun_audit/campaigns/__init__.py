"""The table of a campaign: several models and targets, each with its verdict, from their run folders."""
