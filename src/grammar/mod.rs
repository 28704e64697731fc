//! Text to `Statement`: only our words beyond DataFusion's parser. It never hears of tables that
//! exist, of plans, or of running anything.
