//! The layout: 16 rows side by side, 32 bits of each in a line.

use std::{fmt, str::FromStr};

use half::f16;

pub use crate::format::Line;

/// Rows of a group.
pub const GROUP: usize = crate::format::GROUP_ROWS;

impl Line {
    /// All bits 0, which is the number 0 in every float and integer format.
    pub const ZERO: Line = Line([0; GROUP]);

    /// A float of each row.
    #[inline]
    pub fn of(values: [f32; GROUP]) -> Line {
        Line(values.map(f32::to_bits))
    }

    /// Writes a float: the only element of its lane.
    #[inline]
    fn set_f32(&mut self, lane: usize, value: f32) {
        self.0[lane] = value.to_bits();
    }

    /// Writes the bfloat16 at `index` 0 (low half, even k) or 1 of a lane.
    #[inline]
    fn set_bf16(&mut self, lane: usize, index: usize, value: f32) {
        let shift = 16 * index as u32;
        let kept = self.0[lane] & !(0xffff << shift);
        self.0[lane] = kept | u32::from(to_bf16(value)) << shift;
    }

    /// Writes one of two floats of 16 bits of a row, rounded to nearest even. They are not neighbours as bfloat16s are: the
    /// first ones of all rows are one half of the line, the second ones the other, as conversion instructions read them.
    #[inline]
    pub(crate) fn set_f16(&mut self, lane: usize, index: usize, value: f32) {
        let place = GROUP * index + lane;
        let shift = 16 * (place % 2) as u32;
        let kept = self.0[place / 2] & !(0xffff << shift);
        self.0[place / 2] = kept | u32::from(f16::from_f32(value).to_bits()) << shift;
    }

    /// The 16-bit float at `index` of a row, widened.
    #[inline]
    pub(crate) fn f16(&self, lane: usize, index: usize) -> f32 {
        let place = GROUP * index + lane;
        f16::from_bits((self.0[place / 2] >> (16 * (place % 2))) as u16).to_f32()
    }

    /// Writes the int8 at `index` 0 (lowest byte) to 3 of a lane.
    #[inline]
    pub(super) fn set_i8(&mut self, lane: usize, index: usize, value: i8) {
        let shift = 8 * index as u32;
        let kept = self.0[lane] & !(0xff << shift);
        self.0[lane] = kept | u32::from(value as u8) << shift;
    }

    /// The bfloat16 at `index` of a lane, widened.
    #[inline]
    pub(crate) fn bf16(&self, lane: usize, index: usize) -> f32 {
        let half = self.0[lane] >> (16 * index) & 0xffff;
        f32::from_bits(half << 16)
    }

    /// The int8 at `index` of a lane.
    #[inline]
    pub(crate) fn i8(&self, lane: usize, index: usize) -> i8 {
        (self.0[lane] >> (8 * index)) as i8
    }
}

/// The nearest bfloat16 (ties to even), as its 16 bits. NaN stays a NaN.
#[inline]
fn to_bf16(value: f32) -> u16 {
    let bits = value.to_bits();
    if value.is_nan() {
        return (bits >> 16) as u16 | 0x40; // rounding up could carry a NaN to infinity
    }
    (bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16
}

/// How the elements of a dense matrix are stored.
///
/// ```
/// use bitnet_kernels::DenseFormat;
/// assert_eq!("bf16".parse::<DenseFormat>(), Ok(DenseFormat::Bf16));
/// assert_eq!(DenseFormat::Int8.to_string(), "int8");
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum DenseFormat {
    /// As computed: 4 bytes.
    #[default]
    F32,
    /// The upper half of a float, rounded to nearest even: 2 bytes, relative error at most 2^-9.
    Bf16,
    /// IEEE half precision, rounded to nearest even: 2 bytes. Exact for weights that are published so; a magnitude from
    /// 65,520 on becomes infinite and one below 6e-5 loses digits, where bfloat16 has the range of a float.
    F16,
    /// `round(w · 127 / max|w|)` per row, and activations quantised likewise per token: 1 byte.
    Int8,
}

impl DenseFormat {
    /// Every format.
    pub const ALL: [DenseFormat; 4] = [
        DenseFormat::F32,
        DenseFormat::Bf16,
        DenseFormat::F16,
        DenseFormat::Int8,
    ];

    /// The name that [`FromStr`] reads.
    pub fn name(self) -> &'static str {
        match self {
            DenseFormat::F32 => "f32",
            DenseFormat::Bf16 => "bf16",
            DenseFormat::F16 => "f16",
            DenseFormat::Int8 => "int8",
        }
    }

    /// Elements in a 32-bit lane.
    pub(super) fn per_lane(self) -> usize {
        match self {
            DenseFormat::F32 => 1,
            DenseFormat::Bf16 | DenseFormat::F16 => 2,
            DenseFormat::Int8 => 4,
        }
    }

    /// Lines of a group with `cols` columns.
    pub(super) fn lines(self, cols: usize) -> usize {
        cols.div_ceil(self.per_lane())
    }
}

impl fmt::Display for DenseFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The formats whose products are sums of floats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum FloatFormat {
    /// 4 bytes.
    #[default]
    F32,
    /// 2 bytes: [`DenseFormat::Bf16`].
    Bf16,
    /// 1 byte: the codes of [`DenseFormat::Int8`], as the numbers that they are. Whoever writes them
    /// ([`int8_codes`](crate::int8_codes)) keeps their scales.
    Int8,
}

impl FloatFormat {
    /// Elements in a 32-bit lane.
    pub const fn per_lane(self) -> usize {
        match self {
            FloatFormat::F32 => 1,
            FloatFormat::Bf16 => 2,
            FloatFormat::Int8 => 4,
        }
    }

    /// Every format.
    pub const ALL: [FloatFormat; 3] = [FloatFormat::F32, FloatFormat::Bf16, FloatFormat::Int8];

    /// The name that [`FromStr`] reads.
    pub fn name(self) -> &'static str {
        DenseFormat::from(self).name()
    }

    /// Writes an element of all 16 rows, the one at `index < per_lane` of each lane. The first one clears those after it, so
    /// that what is not written yet is 0.
    #[inline]
    pub fn set_all(self, line: &mut Line, index: usize, values: [f32; GROUP]) {
        debug_assert!(index < self.per_lane());
        match (self, index) {
            (FloatFormat::F32, _) => *line = Line::of(values),
            (FloatFormat::Bf16, 0) => *line = Line(values.map(|v| u32::from(to_bf16(v)))),
            (FloatFormat::Bf16, _) => {
                for (lane, value) in line.0.iter_mut().zip(values) {
                    *lane = *lane & 0xffff | u32::from(to_bf16(value)) << 16;
                }
            }
            (FloatFormat::Int8, index) => {
                let shift = 8 * index as u32;
                for (lane, value) in line.0.iter_mut().zip(values) {
                    *lane = *lane & ((1 << shift) - 1) | u32::from(value as i8 as u8) << shift;
                }
            }
        }
    }

    /// Writes whole lines of a group, `rows` `[16, width]` row by row.
    ///
    /// # Panics
    ///
    /// If there are not 16 rows, or fewer lines than they need.
    pub fn set_rows(self, group: &mut [Line], rows: &[f32]) {
        let width = rows.len() / GROUP;
        assert!(rows.len() == GROUP * width && group.len() >= width.div_ceil(self.per_lane()));
        if width == 0 {
            return;
        }
        // Lanes of a row are made side by side, which the compiler vectorises, and then stored into their lines.
        let mut lanes = [0; GROUP];
        for (lane, row) in rows.chunks_exact(width).enumerate() {
            let parts = row.chunks(GROUP * self.per_lane());
            for (lines, values) in group.chunks_mut(GROUP).zip(parts) {
                let count = match self {
                    FloatFormat::F32 => {
                        let lanes = lanes.iter_mut().zip(values);
                        lanes.map(|(lane, v)| *lane = v.to_bits()).count()
                    }
                    FloatFormat::Bf16 => {
                        let (pairs, last) = values.as_chunks::<2>();
                        for (lane, [even, odd]) in lanes.iter_mut().zip(pairs) {
                            *lane = u32::from(to_bf16(*even)) | u32::from(to_bf16(*odd)) << 16;
                        }
                        if let [last] = *last {
                            lanes[pairs.len()] = u32::from(to_bf16(last));
                        }
                        pairs.len() + last.len()
                    }
                    FloatFormat::Int8 => {
                        let fours = lanes.iter_mut().zip(values.chunks(4));
                        let four = |(lane, values): (&mut u32, &[f32])| {
                            let mut bytes = [0; 4];
                            let codes = values.iter().map(|value| *value as i8 as u8);
                            bytes
                                .iter_mut()
                                .zip(codes)
                                .for_each(|(to, code)| *to = code);
                            *lane = u32::from_le_bytes(bytes);
                        };
                        fours.map(four).count()
                    }
                };
                for (line, value) in lines.iter_mut().zip(&lanes[..count]) {
                    line.0[lane] = *value;
                }
            }
        }
    }

    /// Writes element `k` of row `lane` into the lines of its group.
    #[inline]
    pub fn set(self, group: &mut [Line], lane: usize, k: usize, value: f32) {
        match self {
            FloatFormat::F32 => group[k].set_f32(lane, value),
            FloatFormat::Bf16 => group[k / 2].set_bf16(lane, k % 2, value),
            FloatFormat::Int8 => group[k / 4].set_i8(lane, k % 4, value as i8),
        }
    }
}

impl From<FloatFormat> for DenseFormat {
    fn from(format: FloatFormat) -> DenseFormat {
        match format {
            FloatFormat::F32 => DenseFormat::F32,
            FloatFormat::Bf16 => DenseFormat::Bf16,
            FloatFormat::Int8 => DenseFormat::Int8,
        }
    }
}

impl fmt::Display for FloatFormat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// No format of the kind that was asked for has this name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown format `{name}`: expected {expected}")]
pub struct UnknownFormat {
    name: String,
    expected: &'static str,
}

fn named<T: Copy + Into<DenseFormat>>(
    all: &[T],
    name: &str,
    expected: &'static str,
) -> Result<T, UnknownFormat> {
    let mut all = all.iter().copied();
    all.find(|format| (*format).into().name() == name)
        .ok_or_else(|| UnknownFormat {
            name: name.to_owned(),
            expected,
        })
}

impl FromStr for DenseFormat {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<DenseFormat, UnknownFormat> {
        named(&DenseFormat::ALL, name, "`f32`, `bf16`, `f16` or `int8`")
    }
}

impl FromStr for FloatFormat {
    type Err = UnknownFormat;

    fn from_str(name: &str) -> Result<FloatFormat, UnknownFormat> {
        named(&FloatFormat::ALL, name, "`f32`, `bf16` or `int8`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bf16_rounds_to_nearest_even() {
        let bits = |value: f32| to_bf16(value);
        assert_eq!(bits(1.0), 0x3f80);
        assert_eq!(bits(f32::from_bits(0x3f80_8000)), 0x3f80); // a tie, to even
        assert_eq!(bits(f32::from_bits(0x3f81_8000)), 0x3f82); // a tie, to even
        assert_eq!(bits(f32::from_bits(0x3f80_8001)), 0x3f81);
        assert_eq!(bits(-f32::INFINITY), 0xff80);
        assert_eq!(bits(f32::MAX), 0x7f80);
        assert!(f32::from_bits(u32::from(bits(f32::from_bits(0x7f80_0001))) << 16).is_nan());
    }

    #[test]
    fn rows_at_once_are_elements_one_by_one() {
        for format in FloatFormat::ALL {
            for width in [0usize, 1, 2, 15, 33, 64, 67] {
                let rows = (0..16 * width).map(|i| 120.0 * (i as f32 * 0.37).sin());
                let rows: Vec<f32> = rows.collect();
                let lines = width.div_ceil(format.per_lane());
                let (mut a, mut b) = (vec![Line([7; GROUP]); lines], vec![Line::ZERO; lines]);
                format.set_rows(&mut a, &rows);
                for lane in 0..16 {
                    for k in 0..width {
                        format.set(&mut b, lane, k, rows[lane * width + k]);
                    }
                }
                assert_eq!(a, b, "{format} {width}");
            }
        }
    }

    #[test]
    fn elements_do_not_touch_their_neighbours() {
        let mut line = Line([u32::MAX; GROUP]);
        line.set_i8(3, 2, -5);
        assert_eq!((line.i8(3, 2), line.i8(3, 1), line.i8(3, 3)), (-5, -1, -1));
        line.set_bf16(4, 1, -2.5);
        assert_eq!(line.bf16(4, 1), -2.5);
        assert!(line.bf16(4, 0).is_nan());
        line.set_f16(5, 0, 65504.0);
        line.set_f16(5, 1, -6e-8);
        assert_eq!(
            (line.f16(5, 0), line.f16(5, 1)),
            (65504.0, -0.5f32.powi(24))
        );
        assert!(line.f16(6, 0).is_nan() && line.f16(6, 1).is_nan());
        let mut line = Line([u32::MAX; GROUP]);
        line.set_bf16(4, 1, -2.5);
        FloatFormat::Bf16.set_all(&mut line, 1, [3.0; GROUP]);
        assert_eq!(line.bf16(4, 1), 3.0);
        assert!(line.bf16(4, 0).is_nan());
        FloatFormat::Bf16.set_all(&mut line, 0, [5.0; GROUP]);
        assert_eq!((line.bf16(4, 0), line.bf16(4, 1)), (5.0, 0.0));
        let bytes = |line: &Line| [0, 1, 2, 3].map(|index| line.i8(7, index));
        FloatFormat::Int8.set_all(&mut line, 0, [-127.0; GROUP]);
        assert_eq!(bytes(&line), [-127, 0, 0, 0]);
        FloatFormat::Int8.set_all(&mut line, 3, [5.0; GROUP]);
        assert_eq!(bytes(&line), [-127, 0, 0, 5]);
        FloatFormat::Int8.set_all(&mut line, 1, [-1.0; GROUP]);
        assert_eq!(bytes(&line), [-127, -1, 0, 0]);
    }
}
