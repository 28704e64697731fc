//! Functions of vectors, matrices and images.

/// What `layer_norm` adds to a variance, and the least logarithm in `bce`: PyTorch's.
pub const LAYER_NORM_EPSILON: f64 = 1e-5;
pub const LEAST_LOGARITHM: f64 = -100.0;

/// A function of vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Vector {
    InnerProduct,
    CosineDistance,
    ArrayDistance,
    ArrayAdd,
    ArraySubtract,
    ArrayScale,
    ArrayNormalize,
    ArraySum,
    MatVec,
    Softmax,
    LogSoftmax,
    LayerNorm,
    CrossEntropy,
    Bce,
    /// One level of nesting less.
    Flatten,
    Conv2d {
        stride: usize,
        padding: usize,
    },
    MaxPool2d {
        window: usize,
        stride: usize,
    },
}

impl Vector {
    /// Those that their name and the number of their arguments tell.
    pub const ALL: &'static [Vector] = &[
        Vector::InnerProduct,
        Vector::CosineDistance,
        Vector::ArrayDistance,
        Vector::ArrayAdd,
        Vector::ArraySubtract,
        Vector::ArrayScale,
        Vector::ArrayNormalize,
        Vector::ArraySum,
        Vector::MatVec,
        Vector::Softmax,
        Vector::LogSoftmax,
        Vector::LayerNorm,
        Vector::CrossEntropy,
        Vector::Bce,
        Vector::Flatten,
    ];

    /// The SQL name.
    pub fn name(self) -> &'static str {
        match self {
            Vector::InnerProduct => "inner_product",
            Vector::CosineDistance => "cosine_distance",
            Vector::ArrayDistance => "array_distance",
            Vector::ArrayAdd => "array_add",
            Vector::ArraySubtract => "array_subtract",
            Vector::ArrayScale => "array_scale",
            Vector::ArrayNormalize => "array_normalize",
            Vector::ArraySum => "array_sum",
            Vector::MatVec => "matvec",
            Vector::Softmax => "softmax",
            Vector::LogSoftmax => "log_softmax",
            Vector::LayerNorm => "layer_norm",
            Vector::CrossEntropy => "cross_entropy",
            Vector::Bce => "bce",
            Vector::Flatten => "flatten",
            Vector::Conv2d { .. } => "conv2d",
            Vector::MaxPool2d { .. } => "max_pool2d",
        }
    }

    pub fn arity(self) -> usize {
        match self {
            Vector::ArrayNormalize | Vector::ArraySum | Vector::Softmax | Vector::LogSoftmax | Vector::LayerNorm | Vector::Flatten => 1,
            Vector::MaxPool2d { .. } => 1,
            _ => 2,
        }
    }
}
