//! The algebra room.
