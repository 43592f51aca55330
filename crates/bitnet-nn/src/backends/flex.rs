//! Flex: Burn's CPU backend.

use burn::backend::{
    Flex,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::{Bytes, DType, Shape};
use burn_flex::{FlexTensor, Layout};

use super::cpu::Slices;

impl Slices for Flex {
    fn with_f32<R>(tensor: FloatTensor<Self>, f: impl FnOnce(&[f32]) -> R) -> R {
        with_slice(tensor, f)
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
