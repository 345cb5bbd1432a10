"""The formulas in docstrings, as text, and the TeX with which the reference shows them."""

FORMULAS = {
    # Penalties.
    "P = 1/(2d) sum_ij rho_ij^2": r"P = \frac{1}{2d} \sum_{i,j} \rho_{ij}^2",
    "dP/da_l^(k) = 2 / (d (m-1) sigma_l) sum_i rho_il (z_i^(k) - z_l^(k) rho_il)": (
        r"\frac{\partial P}{\partial a_l^{(k)}} = \frac{2}{d (m-1) \sigma_l} \sum_i \rho_{il}"
        r" \left( z_i^{(k)} - z_l^{(k)} \rho_{il} \right)"
    ),
    "dP/da = A * (B - C)": r"\frac{\partial P}{\partial a} = A (B - C)",
    "A_l = 2 / (d (m-1) sigma_l)": r"A_l = \frac{2}{d (m-1) \sigma_l}",
    "B_l^(k) = sum_i z_i^(k) rho_il": r"B_l^{(k)} = \sum_i z_i^{(k)} \rho_{il}",
    "C_l^(k) = z_l^(k) sum_i rho_il^2": r"C_l^{(k)} = z_l^{(k)} \sum_i \rho_{il}^2",
    "L = scale sum_ij M_ij^2": r"L = \mathrm{scale} \sum_{i,j} M_{ij}^2",
    "E[P] = (1 + (d-1)/(m-1)) / 2": r"\mathrm{E}[P] = \frac{1}{2} \left( 1 + \frac{d-1}{m-1} \right)",
    "E[rho_ij^2] = 1/(m-1)": r"\mathrm{E}[\rho_{ij}^2] = \frac{1}{m-1}",
    "L = 1/2 (||C||_F^2 - ||diag C||_2^2)": (
        r"L = \frac{1}{2} \left( \|C\|_F^2 - \|\mathrm{diag}\, C\|_2^2 \right)"
    ),
    "C = sum_k (a^(k) - mean) (a^(k) - mean)^T / m": (
        r"C = \frac{1}{m} \sum_k (a^{(k)} - \mu) (a^{(k)} - \mu)^T"
    ),
    "L = 1/2 sum_ij (1/m sum_k (a_i^(k) - mean) (b_j^(k) - mean))^2": (
        r"L = \frac{1}{2} \sum_{i,j} \left( \frac{1}{m} \sum_k"
        r" (a_i^{(k)} - \mu_{a_i}) (b_j^{(k)} - \mu_{b_j}) \right)^2"
    ),
    "v = 1/d sum_i max(0, 1 - sqrt(var_i + 1e-4))": (
        r"v = \frac{1}{d} \sum_i \max \left( 0, 1 - \sqrt{\mathrm{var}_i + 10^{-4}} \right)"
    ),
    "L = i mean (a - b)^2 + v (v(a) + v(b)) / 2 + c (K(a) + K(b)) / d": (
        r"L = i\, \mathrm{mean}\, (a - b)^2 + v\, \frac{v(a) + v(b)}{2} + c\, \frac{K(a) + K(b)}{d}"
    ),
    "K = sum_i!=j C_ij^2": r"K = \sum_{i \neq j} C_{ij}^2",
    "L = alpha v(a) + beta / (d (d-1)) sum_i!=j C_ij^2": (
        r"L = \alpha\, v(a) + \frac{\beta}{d (d-1)} \sum_{i \neq j} C_{ij}^2"
    ),
    "2 delta |x| - delta^2": r"2 \delta |x| - \delta^2",
    "L = sum_i (1 - C_ii)^2 + weight sum_i!=j C_ij^2": (
        r"L = \sum_i (1 - C_{ii})^2 + \mathrm{weight} \sum_{i \neq j} C_{ij}^2"
    ),
    "C = 1/m sum_k z_a^(k) z_b^(k)T": r"C = \frac{1}{m} \sum_k z_a^{(k)} z_b^{(k)T}",
    "L = n mean_u sum_k w_k exp(-t_k^2 / 2) ((mean cos(t_k x) - exp(-t_k^2 / 2))^2 + (mean sin(t_k x))^2)": (
        r"L = n\, \mathrm{mean}_u \sum_k w_k e^{-t_k^2 / 2} \left("
        r" \left( \mathrm{mean} \cos(t_k x) - e^{-t_k^2 / 2} \right)^2"
        r" + \left( \mathrm{mean} \sin(t_k x) \right)^2 \right)"
    ),
    # Statistics.
    "z_i^(k) = (a_i^(k) - mean_i) / sigma_i": r"z_i^{(k)} = \frac{a_i^{(k)} - \mu_i}{\sigma_i}",
    "sigma_i^2 = sum_k (a_i^(k) - mean_i)^2 / (m - 1)": (
        r"\sigma_i^2 = \frac{1}{m-1} \sum_k \left( a_i^{(k)} - \mu_i \right)^2"
    ),
    "rho_ij = sum_k z_i^(k) z_j^(k) / (m - 1)": r"\rho_{ij} = \frac{1}{m-1} \sum_k z_i^{(k)} z_j^{(k)}",
    "C_ij = sum_k (a_i^(k) - mean_i) (a_j^(k) - mean_j) / (m - ddof)": (
        r"C_{ij} = \frac{1}{m - \mathrm{ddof}} \sum_k (a_i^{(k)} - \mu_i) (a_j^{(k)} - \mu_j)"
    ),
    "sum_k w_k (a_i^(k) - mean_i) (a_j^(k) - mean_j) / (V1 - ddof V2 / V1), V1 = sum w, V2 = sum w^2": (
        r"\frac{\sum_k w_k (a_i^{(k)} - \mu_i) (a_j^{(k)} - \mu_j)}{V_1 - \mathrm{ddof}\, V_2 / V_1},"
        r" \quad V_1 = \sum_k w_k, \quad V_2 = \sum_k w_k^2"
    ),
    "M = M_a + M_b + delta delta^T w_a w_b / (w_a + w_b)": (
        r"M = M_a + M_b + \frac{w_a w_b}{w_a + w_b} \delta \delta^T"
    ),
    "delta = mean_b - mean_a": r"\delta = \mu_b - \mu_a",
    # Diagnostics.
    "p_i = l_i^(power/2) / sum_j l_j^(power/2)": (
        r"p_i = \frac{l_i^{\mathrm{power}/2}}{\sum_j l_j^{\mathrm{power}/2}}"
    ),
    "exp(-sum_i p_i log p_i)": r"\exp \left( -\sum_i p_i \log p_i \right)",
    "1 / sum_i p_i^2": r"1 / \sum_i p_i^2",
    "1 / max_i p_i": r"1 / \max_i p_i",
    "(sum_i p_i^q)^(1/(1-q))": r"\left( \sum_i p_i^q \right)^{1/(1-q)}",
    "(tr R)^2 / tr(R^2) = d / (1 + (d - 1) r2)": (
        r"\frac{(\mathrm{tr}\, R)^2}{\mathrm{tr}\, R^2} = \frac{d}{1 + (d - 1) r_2}"
    ),
    "r2 = 1/(d(d-1)) sum_i!=j rho_ij^2": r"r_2 = \frac{1}{d (d-1)} \sum_{i \neq j} \rho_{ij}^2",
    "r2 - (1 - r2) / (n - 2)": r"r_2 - \frac{1 - r_2}{n - 2}",
    "l_1 >= l_2 >= ...": r"l_1 \geq l_2 \geq \ldots",
    "1/m sum_k a^(k) a^(k)T": r"\frac{1}{m} \sum_k a^{(k)} a^{(k)T}",
    "sum_{i<=k} s_i^power >= share sum_i s_i^power": (
        r"\sum_{i \leq k} s_i^{\mathrm{power}} \geq \mathrm{share} \sum_i s_i^{\mathrm{power}}"
    ),
    "s_i / sqrt(m) > threshold": r"s_i / \sqrt{m} > \mathrm{threshold}",
    "|rho_ij| >= threshold - 64 eps": r"|\rho_{ij}| \geq \mathrm{threshold} - 64\, \mathrm{eps}",
    "s_i = mean_k |a_i^(k)| / (1/d sum_j mean_k |a_j^(k)|)": (
        r"s_i = \frac{\mathrm{mean}_k\, |a_i^{(k)}|}{\frac{1}{d} \sum_j \mathrm{mean}_k\, |a_j^{(k)}|}"
    ),
    "CKA = h(a, b) / sqrt(h(a, a) h(b, b))": (
        r"\mathrm{CKA} = \frac{h(a, b)}{\sqrt{h(a, a)\, h(b, b)}}"
    ),
    # Dropout.
    "rho' = keep rho / sqrt((1 + rate mu_i^2/sigma_i^2) (1 + rate mu_j^2/sigma_j^2))": (
        r"\rho' = \frac{\mathrm{keep}\, \rho}{\sqrt{(1 + \mathrm{rate}\, \mu_i^2 / \sigma_i^2)"
        r" (1 + \mathrm{rate}\, \mu_j^2 / \sigma_j^2)}}"
    ),
    "E[sum_k r_i z_i^(k) r_j z_j^(k) / (m - 1)] = keep^2 rho_ij": (
        r"\mathrm{E} \left[ \frac{1}{m-1} \sum_k r_i z_i^{(k)} r_j z_j^{(k)} \right]"
        r" = \mathrm{keep}^2 \rho_{ij}"
    ),
    # Whitening.
    "C' = (1 - shrinkage) C + shrinkage mean_i(C_ii) I": (
        r"C' = (1 - \mathrm{shrinkage})\, C + \mathrm{shrinkage}\, \mathrm{mean}_i (C_{ii})\, I"
    ),
    "C = 1/(m-1) sum_k (a^(k) - mean)(a^(k) - mean)^T": (
        r"C = \frac{1}{m-1} \sum_k (a^{(k)} - \mu) (a^{(k)} - \mu)^T"
    ),
    "W C' W^T = I": r"W C' W^T = I",
    "C' = E diag(l) E^T": r"C' = E\, \mathrm{diag}(l)\, E^T",
    "W = E diag(l)^(-1/2) E^T": r"W = E\, \mathrm{diag}(l)^{-1/2} E^T",
    "E diag(l)^(1/2) E^T": r"E\, \mathrm{diag}(l)^{1/2} E^T",
    "W = diag(l)^(-1/2) E^T": r"W = \mathrm{diag}(l)^{-1/2} E^T",
    "E diag(l)^(1/2)": r"E\, \mathrm{diag}(l)^{1/2}",
    "y = (a - mean) W^T": r"y = (a - \mu) W^T",
    "W = L^(-1)": r"W = L^{-1}",
    "C' = L L^T": r"C' = L L^T",
    "W = C'^(-1/2)": r"W = C'^{-1/2}",
    "l / ((1 - shrinkage) l + shrinkage mean_i(C_ii))": (
        r"\frac{l}{(1 - \mathrm{shrinkage})\, l"
        r" + \mathrm{shrinkage}\, \mathrm{mean}_i (C_{ii})}"
    ),
}
"""Maps each formula, as docstrings write it, to its TeX."""
