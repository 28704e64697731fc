//! The relaxation room.
