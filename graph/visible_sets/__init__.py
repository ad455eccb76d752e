"""Visible sets from roaring bitmaps: whom audiences consist of, kept in memory and fed by the change feed."""
