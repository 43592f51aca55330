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
    let energy = ModelShape::default().energy(LinearKind::Ternary, 0);
    assert!(energy.estimates.iter().all(|e| e.model_pj == 0.0));
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

#[test]
fn a_tiny_transformer_by_hand() {
    let shape = ModelShape {
        hidden: 4,
        intermediate: 8,
        layers: 2,
        heads: 2,
        kv_heads: 1,
        head_dim: 2,
        vocab: 10,
    };
    // Per block: q 4→4, k 4→2, v 4→2, o 4→4, gate 4→8, up 4→8, down 8→4.
    //   additions 3·4 + 3·2 + 3·2 + 3·4 + 3·8 + 3·8 + 7·4 = 112; multiplications 16+8+8+16+32+32+32 = 144
    //   scales (n + p) 8 + 6 + 6 + 8 + 12 + 12 + 12 = 64
    close(
        shape.linear_pj(LinearKind::Float, FloatWidth::Fp32, Process::Nm45),
        2.0 * (112.0 * 0.9 + 144.0 * 3.7),
    );
    close(
        shape.linear_pj(LinearKind::Ternary, FloatWidth::Fp16, Process::Nm7),
        2.0 * (112.0 * 0.007 + 64.0 * 0.34),
    );
    // Head 4→10: 30 additions, 40 multiplications. Attention at context 5, per layer and head:
    //   scores 1·1·5 = 5 additions, 10 multiplications; values 1·4·2 = 8 additions, 10 multiplications.
    let rest = 30.0 * 0.9 + 40.0 * 3.7 + 4.0 * (13.0 * 0.9 + 20.0 * 3.7);
    close(
        shape.float_rest_pj(5, FloatWidth::Fp32, Process::Nm45),
        rest,
    );

    let float = shape.energy(LinearKind::Float, 5);
    let estimate = float
        .estimate(FloatWidth::Fp32, Process::Nm45)
        .expect("every pair is modelled");
    close(estimate.model_pj - estimate.linear_pj, rest);
    assert_eq!(float.method, MODELLED);
    assert_eq!(float.estimates.len(), 4);
}

#[test]
fn what_stays_float_is_the_same_in_both_twins() {
    let shape = ModelShape {
        hidden: 128,
        intermediate: 352,
        layers: 4,
        heads: 4,
        kv_heads: 4,
        head_dim: 32,
        vocab: 65,
    };
    let float = shape.energy(LinearKind::Float, 64);
    let ternary = shape.energy(LinearKind::Ternary, 64);
    for (f, t) in float.estimates.iter().zip(&ternary.estimates) {
        close(f.model_pj - f.linear_pj, t.model_pj - t.linear_pj);
        assert!(t.linear_pj < f.linear_pj && t.model_pj < f.model_pj);
    }
}

#[test]
fn energy_round_trips_through_json() {
    let shape = ModelShape {
        hidden: 4,
        intermediate: 8,
        layers: 1,
        heads: 1,
        kv_heads: 1,
        head_dim: 4,
        vocab: 9,
    };
    let energy = shape.energy(LinearKind::Ternary, 3);
    let json = serde_json::to_string(&energy).expect("plain data");
    assert!(
        json.contains(r#""process":"7nm""#) && json.contains(r#""float":"fp16""#),
        "{json}"
    );
    assert_eq!(
        serde_json::from_str::<Energy>(&json).expect("own output"),
        energy
    );
}
