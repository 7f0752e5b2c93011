//! stub until merged
pub struct Captcha {
    pub answer: String,
    pub png: Vec<u8>,
}
pub fn draw<R: rand::Rng>(_: &mut R) -> Captcha {
    Captcha { answer: String::new(), png: Vec::new() }
}
pub fn matches(_: &str, _: &str) -> bool {
    false
}
