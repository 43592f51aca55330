use bitnet_engine::Engine;
use bitnet_serve::Batch;
pub fn of(engine: Engine) -> Batch {
    Batch::new(engine)
}
