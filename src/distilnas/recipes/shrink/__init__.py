"""The recipe ``shrink``: students under budgets that keep their teacher's weights."""
