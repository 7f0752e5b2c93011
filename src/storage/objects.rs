//! Objects: bytes, as extents of blocks.
