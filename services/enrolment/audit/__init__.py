"""The audit of settings: what the table says against what the topic was told, which nobody can take back."""
