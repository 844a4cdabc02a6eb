//! What goes into a graph and comes out of it.

/// Numbers in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Data {
    F32(Vec<f32>),
    /// Whole numbers; narrower where the graph wants them so.
    I64(Vec<i64>),
}

/// An array of any rank.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Tensor {
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Data,
}

impl Tensor {
    pub(crate) fn floats(shape: impl Into<Vec<usize>>, data: Vec<f32>) -> Self {
        let shape = shape.into();
        debug_assert_eq!(shape.iter().product::<usize>(), data.len());
        Self { shape, data: Data::F32(data) }
    }

    pub(crate) fn whole(shape: impl Into<Vec<usize>>, data: Vec<i64>) -> Self {
        let shape = shape.into();
        debug_assert_eq!(shape.iter().product::<usize>(), data.len());
        Self { shape, data: Data::I64(data) }
    }

    /// The numbers where they are floats, none where they are not.
    pub(crate) fn as_floats(&self) -> &[f32] {
        match &self.data {
            Data::F32(data) => data,
            Data::I64(_) => &[],
        }
    }

    /// The numbers where they are whole, none where they are not.
    pub(crate) fn as_whole(&self) -> &[i64] {
        match &self.data {
            Data::F32(_) => &[],
            Data::I64(data) => data,
        }
    }

    /// Puts tensors of one shape, each of size 1 at `axis`, side by side there.
    pub(crate) fn stack(rows: &[&Self], axis: usize) -> Self {
        let mut shape = rows[0].shape.clone();
        shape[axis] = rows.len();
        let inner = shape[axis + 1..].iter().product();
        let data = match &rows[0].data {
            Data::F32(_) => {
                Data::F32(interleave(&rows.iter().map(|r| r.as_floats()).collect::<Vec<_>>(), inner))
            }
            Data::I64(_) => {
                Data::I64(interleave(&rows.iter().map(|r| r.as_whole()).collect::<Vec<_>>(), inner))
            }
        };
        Self { shape, data }
    }

    /// The opposite of [`Tensor::stack`]: the rows at `axis`, each of size 1 there.
    pub(crate) fn unstack(self, axis: usize) -> Vec<Self> {
        let rows = self.shape[axis];
        if rows == 1 {
            return vec![self];
        }
        let inner = self.shape[axis + 1..].iter().product();
        let mut shape = self.shape;
        shape[axis] = 1;
        match self.data {
            Data::F32(data) => {
                part(&data, rows, inner).map(|d| Self { shape: shape.clone(), data: Data::F32(d) }).collect()
            }
            Data::I64(data) => {
                part(&data, rows, inner).map(|d| Self { shape: shape.clone(), data: Data::I64(d) }).collect()
            }
        }
    }
}

fn interleave<T: Copy>(rows: &[&[T]], inner: usize) -> Vec<T> {
    let mut out = Vec::with_capacity(rows.iter().map(|r| r.len()).sum());
    for at in (0..rows[0].len()).step_by(inner.max(1)) {
        for row in rows {
            out.extend_from_slice(&row[at..at + inner]);
        }
    }
    out
}

fn part<T: Copy>(data: &[T], rows: usize, inner: usize) -> impl Iterator<Item = Vec<T>> {
    (0..rows).map(move |row| {
        let mut out = Vec::with_capacity(data.len() / rows.max(1));
        for group in data.chunks_exact((rows * inner).max(1)) {
            out.extend_from_slice(&group[row * inner..(row + 1) * inner]);
        }
        out
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_apart_as_they_were_put_together() {
        let row = |seed: usize| Tensor::floats([2, 1, 3], (0..6).map(|n| (seed * 10 + n) as f32).collect());
        let (a, b) = (row(1), row(2));
        let both = Tensor::stack(&[&a, &b], 1);
        assert_eq!(both.shape, [2, 2, 3]);
        assert_eq!(both.as_floats()[..6], [10.0, 11.0, 12.0, 20.0, 21.0, 22.0]);
        assert_eq!(both.unstack(1), [a, b]);
        let count = |n| Tensor::whole([1], vec![n]);
        assert_eq!(Tensor::stack(&[&count(3), &count(4)], 0), Tensor::whole([2], vec![3, 4]));
    }
}
