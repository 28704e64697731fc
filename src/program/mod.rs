//! The program room.
