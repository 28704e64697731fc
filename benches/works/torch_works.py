"""The works in PyTorch on the CPU, as a user would write them today.

    python torch_works.py WORK [--threads 2] [--runs 5]

prints one JSON object a run: {"work", "seconds", "unit", "objective"}. Install with `pip install torch numpy`
(a CPU build is enough).  Data are synthetic, of the shapes of the works beside it, drawn with a fixed seed.
"""
import argparse, json, time
import torch, torch.nn.functional as F


def timed(step, warm=2, count=5):
    for _ in range(warm):
        loss = step()
    start = time.perf_counter()
    for _ in range(count):
        loss = step()
    return (time.perf_counter() - start) / count, float(loss.detach() if torch.is_tensor(loss) else loss)


def ratings(n=1_000_209, users=6040, items=3706):
    return (torch.randint(0, users, (n,)), (torch.rand(n) * torch.rand(n) * items).long(), torch.rand(n) * 5, users, items)


def factorize(d=32):
    u, i, r, users, items = ratings()
    U = torch.nn.Parameter(torch.randn(users, d) * 0.1); V = torch.nn.Parameter(torch.randn(items, d) * 0.1)
    opt = torch.optim.Adam([U, V], lr=0.01)
    def step():
        opt.zero_grad(); loss = ((U[u] * V[i]).sum(1) - r).pow(2).mean(); loss.backward(); opt.step(); return loss
    return timed(step), "step"


def factorize_batch(d=32, batch=4096):
    u, i, r, users, items = ratings(); n = len(r)
    U = torch.nn.Embedding(users, d); V = torch.nn.Embedding(items, d)
    opt = torch.optim.Adam([*U.parameters(), *V.parameters()], lr=0.01)
    def epoch():
        for b in torch.randperm(n).split(batch):
            opt.zero_grad(); loss = ((U(u[b]) * V(i[b])).sum(1) - r[b]).pow(2).mean(); loss.backward(); opt.step()
        return loss
    return timed(epoch, 0, 1), "epoch"


def logistic(n=1_000_000, d=28):
    X = torch.randn(n, d); y = (torch.rand(n) < 0.5).float()
    w = torch.nn.Parameter(torch.zeros(d)); b = torch.nn.Parameter(torch.zeros(1)); opt = torch.optim.Adam([w, b], lr=0.1)
    def step():
        opt.zero_grad(); loss = F.binary_cross_entropy_with_logits(X @ w + b, y); loss.backward(); opt.step(); return loss
    return timed(step), "step"


def threshold(n=1_000_000, k=5, t=0.1):
    X = torch.randn(n, k); y = ((X > -0.5).all(1)).float()
    c = torch.nn.Parameter(torch.zeros(k)); opt = torch.optim.Adam([c], lr=0.05)
    def step():
        opt.zero_grad(); w = torch.sigmoid((X - c) / t).prod(1)
        loss = -2 * (w * y).sum() / (w.sum() + y.sum()); loss.backward(); opt.step(); return loss
    return timed(step), "step"


def rank(q=3000, m=100, d=136, t=0.1, chunk=250):
    X = torch.randn(q, m, d); g = torch.randint(0, 5, (q, m)).float(); gain = 2 ** g - 1
    ideal = (gain.sort(1, descending=True)[0] / torch.log2(torch.arange(m) + 2.0)).sum(1)
    w = torch.nn.Parameter(torch.randn(d) * 0.01); opt = torch.optim.Adam([w], lr=0.01)
    def step():
        opt.zero_grad(); total = 0.0
        for a in range(0, q, chunk):
            s = X[a:a + chunk] @ w
            r = 0.5 + torch.sigmoid((s[:, None, :] - s[:, :, None]) / t).sum(2)
            loss = -(((gain[a:a + chunk] / torch.log2(1 + r)).sum(1)) / ideal[a:a + chunk]).sum() / q
            loss.backward(); total += loss.item()
        opt.step(); return total
    return timed(step, 1, 2), "step"


def laplace_top_k(s, k, t, rounds=60):
    """Sum over rows of F((s - theta)/t) = k by bisection; the gradient by one implicit Newton step."""
    def F_(x): return torch.where(x < 0, 0.5 * torch.exp(-x.abs()), 1 - 0.5 * torch.exp(-x.abs()))
    with torch.no_grad():
        lo, hi = s.min() - 20 * t, s.max() + 20 * t
        for _ in range(rounds):
            mid = (lo + hi) / 2
            over = F_((s - mid) / t).sum() > k
            lo, hi = torch.where(over, mid, lo), torch.where(over, hi, mid)
        theta = (lo + hi) / 2
        f = torch.exp(-((s - theta) / t).abs()); f = f / f.sum()
    return F_((s - (theta + (f * (s - s.detach())).sum())) / t)


def select(n=1_000_000, share=0.01, t=0.05):
    x = torch.randn(n); v = torch.rand(n); a = torch.nn.Parameter(torch.ones(1)); b = torch.nn.Parameter(torch.zeros(1))
    def step():
        a.grad = b.grad = None; m = laplace_top_k(a * x + b * v, int(n * share), t); loss = (m * v).sum(); loss.backward(); return loss
    return timed(step), "step"


def perceptron(n=60_000, batch=128):
    X = torch.rand(n, 784); y = torch.randint(0, 10, (n,))
    net = torch.nn.Sequential(torch.nn.Linear(784, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10)); opt = torch.optim.Adam(net.parameters(), lr=1e-3)
    def epoch():
        for b in torch.randperm(n).split(batch):
            opt.zero_grad(); loss = F.cross_entropy(net(X[b]), y[b]); loss.backward(); opt.step()
        return loss
    return timed(epoch, 0, 1), "epoch"


def digit_sum(pairs=30_000, batch=64):
    A, B = torch.rand(pairs, 784), torch.rand(pairs, 784); y = torch.randint(0, 19, (pairs,))
    net = torch.nn.Sequential(torch.nn.Linear(784, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10)); opt = torch.optim.Adam(net.parameters(), lr=1e-3)
    sums = torch.zeros(10, 10, 19)
    for p in range(10):
        for q in range(10): sums[p, q, p + q] = 1
    def epoch():
        for b in torch.randperm(pairs).split(batch):
            opt.zero_grad(); p, q = net(A[b]).softmax(1), net(B[b]).softmax(1)
            dist = torch.einsum("np,nq,pqs->ns", p, q, sums); loss = -torch.log(dist[torch.arange(len(b)), y[b]] + 1e-9).mean()
            loss.backward(); opt.step()
        return loss
    return timed(epoch, 0, 1), "epoch"


def translate(n=272_115, entities=14_541, relations=237, d=100, batch=1024):
    h, t, r = torch.randint(0, entities, (n,)), torch.randint(0, entities, (n,)), torch.randint(0, relations, (n,))
    E, R = torch.nn.Embedding(entities, d), torch.nn.Embedding(relations, d); opt = torch.optim.Adam([*E.parameters(), *R.parameters()], lr=1e-3)
    def epoch():
        for b in torch.randperm(n).split(batch):
            neg = torch.randint(0, entities, (len(b),)); opt.zero_grad()
            base = E(h[b]) + R(r[b]); pos = (base - E(t[b])).pow(2).sum(1).add(1e-9).sqrt(); bad = (base - E(neg)).pow(2).sum(1).add(1e-9).sqrt()
            loss = F.relu(1 + pos - bad).mean(); loss.backward(); opt.step()
        return loss
    return timed(epoch, 0, 1), "epoch"


def soft_join(n=5000, m=5000, d=64, t=0.1):
    A, B = torch.nn.Parameter(torch.randn(n, d) / d ** 0.5), torch.nn.Parameter(torch.randn(m, d) / d ** 0.5); c = torch.nn.Parameter(torch.zeros(1))
    want = torch.rand(n) * 50
    opt = torch.optim.Adam([A, B, c], lr=1e-3)
    def step():
        opt.zero_grad(); loss = (torch.sigmoid((A @ B.T - c) / t).sum(1) - want).pow(2).mean(); loss.backward(); opt.step(); return loss
    return timed(step, 1, 3), "step"


if __name__ == "__main__":
    works = {f.__name__: f for f in (factorize, factorize_batch, logistic, threshold, rank, select, perceptron, digit_sum, translate, soft_join)}
    p = argparse.ArgumentParser(); p.add_argument("work", choices=[*works, "all"]); p.add_argument("--threads", type=int, default=2); p.add_argument("--runs", type=int, default=1)
    a = p.parse_args(); torch.set_num_threads(a.threads); torch.manual_seed(0)
    for name in (works if a.work == "all" else [a.work]):
        for _ in range(a.runs):
            (seconds, objective), unit = works[name]()
            print(json.dumps({"work": name, "seconds": round(seconds, 6), "unit": unit, "objective": objective}), flush=True)
