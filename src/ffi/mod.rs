//! The edge to C and JavaScript.
