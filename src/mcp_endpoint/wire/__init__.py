"""Pure reading and writing of frames: bytes in, values out."""
