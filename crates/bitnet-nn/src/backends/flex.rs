//! Flex: Burn's CPU backend.

use burn::backend::{
    Flex,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::{Bytes, DType, Shape};
use burn_flex::{FlexTensor, Layout};

use super::cpu::{Slices, index};

impl Slices for Flex {
    fn contiguous(tensor: FloatTensor<Self>) -> FloatTensor<Self> {
        if tensor.as_slice::<f32>().is_some() {
            tensor
        } else {
            tensor.to_contiguous()
        }
    }

    fn as_f32s(tensor: &FloatTensor<Self>) -> &[f32] {
        tensor
            .as_slice::<f32>()
            .expect("a contiguous tensor is a slice")
    }

    fn with_indices<R>(tensor: IntTensor<Self>, f: impl FnOnce(&[usize]) -> R) -> R {
        let indices: Vec<usize> = match tensor.dtype() {
            DType::I32 => {
                with_slice::<i32, _>(tensor, |x| x.iter().map(|i| index(i64::from(*i))).collect())
            }
            DType::I64 => with_slice::<i64, _>(tensor, |x| x.iter().map(|i| index(*i)).collect()),
            DType::U32 => with_slice::<u32, _>(tensor, |x| x.iter().map(|i| *i as usize).collect()),
            other => panic!("expected indices of 32 or 64 bits, got {other:?}"),
        };
        f(&indices)
    }

    fn with_u32<R>(tensor: IntTensor<Self>, f: impl FnOnce(&[u32]) -> R) -> R {
        with_slice(tensor, f)
    }

    fn own_f32(data: Vec<f32>, shape: Shape) -> FloatTensor<Self> {
        FlexTensor::new(
            Bytes::from_elems(data),
            Layout::contiguous(shape),
            DType::F32,
        )
    }

    fn exclusive(tensor: FloatTensor<Self>) -> FloatTensor<Self> {
        let elements = tensor.layout().num_elements();
        let whole = tensor.is_contiguous()
            && tensor.layout().start_offset() == 0
            && tensor.bytes().len() == elements * size_of::<f32>();
        if whole && tensor.is_unique() {
            return tensor;
        }
        let shape = tensor.layout().shape().clone();
        let data = with_slice::<f32, _>(tensor, <[f32]>::to_vec);
        Self::own_f32(data, shape)
    }

    fn as_mut_f32(tensor: &mut FloatTensor<Self>) -> &mut [f32] {
        tensor.storage_mut::<f32>()
    }

    fn own_u32(data: Vec<u32>, shape: Shape) -> IntTensor<Self> {
        FlexTensor::new(
            Bytes::from_elems(data),
            Layout::contiguous(shape),
            DType::U32,
        )
    }
}

fn with_slice<E: burn::tensor::Element + bytemuck::Pod, R>(
    tensor: FlexTensor,
    f: impl FnOnce(&[E]) -> R,
) -> R {
    if let Some(slice) = tensor.as_slice::<E>() {
        return f(slice);
    }
    let tensor = tensor.to_contiguous();
    f(tensor
        .as_slice::<E>()
        .expect("a contiguous tensor is a slice"))
}
