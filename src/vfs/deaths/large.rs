//! Operations that change a great deal.
