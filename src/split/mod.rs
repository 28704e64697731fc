//! The split room.
