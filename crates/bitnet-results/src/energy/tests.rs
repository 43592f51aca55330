use super::*;

fn close(got: f64, want: f64) {
    assert!(
        (got - want).abs() <= 1e-12 * want.abs().max(1.0),
        "{got} is not {want}"
    );
}

#[test]
fn a_small_product_by_hand() {
    // 2×3 by 3×4: 2·2·4 = 16 additions, 2·3·4 = 24 multiplications; scales 2·4 + 2·3 = 14.
    close(
        float_product_pj(2, 3, 4, FloatWidth::Fp32, Process::Nm45),
        16.0 * 0.9 + 24.0 * 3.7,
    );
    close(
        float_product_pj(2, 3, 4, FloatWidth::Fp16, Process::Nm7),
        16.0 * 0.16 + 24.0 * 0.34,
    );
    close(
        ternary_product_pj(2, 3, 4, FloatWidth::Fp32, Process::Nm45),
        16.0 * 0.03 + 14.0 * 3.7,
    );
    close(
        ternary_product_pj(2, 3, 4, FloatWidth::Fp16, Process::Nm7),
        16.0 * 0.007 + 14.0 * 0.34,
    );
}

#[test]
fn degenerate_products_cost_nothing_and_do_not_underflow() {
    for (m, n, p) in [(0, 5, 5), (5, 0, 0), (0, 0, 0)] {
        close(
            float_product_pj(m, n, p, FloatWidth::Fp32, Process::Nm7),
            0.0,
        );
        close(
            ternary_product_pj(m, n, p, FloatWidth::Fp32, Process::Nm7),
            0.0,
        );
    }
    let nothing = Products {
        float: Some(Products::head_and_attention(0, 0, 0, 0, 0)),
        ..Products::default()
    };
    let energy = nothing.modelled(Linear::Ternary);
    assert_eq!(energy.len(), 8);
    assert!(energy.values().all(|pj| *pj == 0.0));
}

/// Golden: figure 3 of arXiv 2402.17764 says 71.4 times at 7 nm.
#[test]
fn the_papers_headline_is_one_multiply_add_over_one_int8_addition() {
    let exact = Process::Nm7.headline_ratio(FloatWidth::Fp16);
    assert!((exact - 71.4).abs() < 0.05, "{exact}");
    close(exact, 0.5 / 0.007);
    // Full formulas, scales included, approach it only for layers far wider than any real one.
    let ratio = |n| {
        float_product_pj(1, n, n, FloatWidth::Fp16, Process::Nm7)
            / ternary_product_pj(1, n, n, FloatWidth::Fp16, Process::Nm7)
    };
    assert!(ratio(128) < 42.0 && ratio(128) > 40.0, "{}", ratio(128));
    assert!(ratio(4096) > 69.0 && ratio(4096) < exact);
    assert!((ratio(1 << 30) - exact).abs() < 1e-3);
}

/// The linear layers of a block with a gated feed-forward network, as LLaMA has it: q, k, v, o, gate, up, down.
fn block(hidden: u64, kv: u64, wide: u64) -> [(u64, u64); 7] {
    [
        (hidden, hidden),
        (hidden, kv),
        (hidden, kv),
        (hidden, hidden),
        (hidden, wide),
        (hidden, wide),
        (wide, hidden),
    ]
}

#[test]
fn a_tiny_transformer_by_hand() {
    let products = Products {
        linear: [block(4, 2, 8), block(4, 2, 8)].concat(),
        float: Some(Products::head_and_attention(4, 10, 2 * 2, 2, 5)),
    };
    // Per block: q 4→4, k 4→2, v 4→2, o 4→4, gate 4→8, up 4→8, down 8→4.
    //   additions 3·4 + 3·2 + 3·2 + 3·4 + 3·8 + 3·8 + 7·4 = 112; multiplications 16+8+8+16+32+32+32 = 144
    //   scales (n + p) 8 + 6 + 6 + 8 + 12 + 12 + 12 = 64
    close(
        products.linear_pj(Linear::Float, FloatWidth::Fp32, Process::Nm45),
        2.0 * (112.0 * 0.9 + 144.0 * 3.7),
    );
    close(
        products.linear_pj(Linear::Ternary, FloatWidth::Fp16, Process::Nm7),
        2.0 * (112.0 * 0.007 + 64.0 * 0.34),
    );
    // Head 4→10: 30 additions, 40 multiplications. Attention at context 5, per layer and head:
    //   scores 1·1·5 = 5 additions, 10 multiplications; values 1·4·2 = 8 additions, 10 multiplications.
    let rest = 30.0 * 0.9 + 40.0 * 3.7 + 4.0 * (13.0 * 0.9 + 20.0 * 3.7);
    close(
        products.float_pj(FloatWidth::Fp32, Process::Nm45).unwrap(),
        rest,
    );

    let float = products.modelled(Linear::Float);
    assert_eq!(float.len(), 8);
    close(
        float["whole model, FP32, 45 nm"] - float["linear layers, FP32, 45 nm"],
        rest,
    );
}

#[test]
fn what_stays_float_is_the_same_in_both() {
    let products = Products {
        linear: [block(128, 128, 352); 4].concat(),
        float: Some(Products::head_and_attention(128, 65, 16, 32, 64)),
    };
    let (float, ternary) = (
        products.modelled(Linear::Float),
        products.modelled(Linear::Ternary),
    );
    for width in FloatWidth::ALL {
        for process in Process::ALL {
            let [linear, whole] =
                [LINEAR_LAYERS, WHOLE_MODEL].map(|part| label(part, width, process));
            close(
                float[&whole] - float[&linear],
                ternary[&whole] - ternary[&linear],
            );
            assert!(ternary[&linear] < float[&linear] && ternary[&whole] < float[&whole]);
        }
    }
}

#[test]
fn what_was_not_counted_is_not_there() {
    let layer = Products {
        linear: vec![(8, 4)],
        float: None,
    };
    let labels: Vec<String> = layer.modelled(Linear::Ternary).into_keys().collect();
    assert_eq!(
        labels,
        [
            "linear layers, FP16, 45 nm",
            "linear layers, FP16, 7 nm",
            "linear layers, FP32, 45 nm",
            "linear layers, FP32, 7 nm"
        ]
    );
}

#[test]
fn blocks_cost_their_products_and_a_scale_for_each_32() {
    // By hand: one row, 64 by 3, FP16 at 7 nm.
    let pj = block_product_pj(1, 64, 3, FloatWidth::Fp16, Process::Nm7);
    close(pj, 63.0 * 3.0 * 0.007 + 192.0 * 0.07 + (6.0 + 64.0) * 0.34);
    let products = Products {
        linear: vec![(64, 3)],
        float: None,
    };
    close(
        products.linear_pj(Arithmetic::Blocks, FloatWidth::Fp16, Process::Nm7),
        pj,
    );
}
