"""Where wire, guard and stack meet: planned, brought up in order, torn down in reverse."""
