//! NdArray: Burn's older CPU backend, deprecated upstream in favour of Flex and kept here behind its feature.
#![allow(deprecated)]

use burn::backend::{
    NdArray, TensorMetadata,
    tensor::{FloatTensor, IntTensor},
};
use burn::tensor::Shape;
use burn_ndarray::NdArrayTensor;
use ndarray::{ArrayD, ArrayViewD, IxDyn};

use super::cpu::{Slices, index};

impl Slices for NdArray {
    fn contiguous(tensor: FloatTensor<Self>) -> FloatTensor<Self> {
        let strided = match &tensor {
            NdArrayTensor::F32(storage) if storage.view().as_slice().is_none() => {
                storage.view().as_standard_layout().into_owned()
            }
            _ => return tensor,
        };
        strided.into_shared().into()
    }

    fn as_f32s(tensor: &FloatTensor<Self>) -> &[f32] {
        match tensor {
            NdArrayTensor::F32(storage) => storage
                .view()
                .to_slice()
                .expect("a contiguous tensor is a slice"),
            other => panic!("expected an f32 tensor, got {:?}", other.dtype()),
        }
    }

    fn with_indices<R>(tensor: IntTensor<Self>, f: impl FnOnce(&[usize]) -> R) -> R {
        let indices: Vec<usize> = match tensor {
            NdArrayTensor::I32(x) => x.view().iter().map(|i| index(i64::from(*i))).collect(),
            NdArrayTensor::I64(x) => x.view().iter().map(|i| index(*i)).collect(),
            NdArrayTensor::U32(x) => x.view().iter().map(|i| *i as usize).collect(),
            other => panic!("expected indices of 32 or 64 bits, got {:?}", other.dtype()),
        };
        f(&indices)
    }

    fn with_u32<R>(tensor: IntTensor<Self>, f: impl FnOnce(&[u32]) -> R) -> R {
        match tensor {
            NdArrayTensor::U32(storage) => with_slice(storage.view(), f),
            other => panic!("expected a u32 tensor, got {:?}", other.dtype()),
        }
    }

    fn own_f32(data: Vec<f32>, shape: Shape) -> FloatTensor<Self> {
        array(data, shape).into_shared().into()
    }

    fn exclusive(tensor: FloatTensor<Self>) -> FloatTensor<Self> {
        // NdArray shares its arrays and tells nobody how often: a copy is the safe way.
        let shape = tensor.shape();
        let data = Self::with_f32(tensor, <[f32]>::to_vec);
        Self::own_f32(data, shape)
    }

    fn as_mut_f32(tensor: &mut FloatTensor<Self>) -> &mut [f32] {
        match tensor {
            NdArrayTensor::F32(storage) => storage
                .ensure_owned()
                .as_slice_mut()
                .expect("an exclusive tensor is a slice"),
            other => panic!("expected an f32 tensor, got {:?}", other.dtype()),
        }
    }

    fn own_u32(data: Vec<u32>, shape: Shape) -> IntTensor<Self> {
        array(data, shape).into_shared().into()
    }
}

fn array<E>(data: Vec<E>, shape: Shape) -> ArrayD<E> {
    ArrayD::from_shape_vec(IxDyn(&shape), data).expect("as many elements as the shape holds")
}

fn with_slice<E: Clone, R>(view: ArrayViewD<'_, E>, f: impl FnOnce(&[E]) -> R) -> R {
    match view.as_slice() {
        Some(slice) => f(slice),
        None => {
            let standard = view.as_standard_layout();
            f(standard.as_slice().expect("standard layout is a slice"))
        }
    }
}
