//! The scalar room.
