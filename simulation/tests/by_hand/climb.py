# The bound against HiGHS, by hand: python -m venv v && v/bin/pip install highspy numpy && v/bin/python climb.py SEED
# A port of simulation/src/bound/dual.rs on made-up bursts (local at one slot), and the programme itself solved by HiGHS.
import numpy as np, time, sys
from highspy import Highs
import highspy
rng=np.random.default_rng(int(sys.argv[1]))
N=298; END=N*4200/2/0.87
at=[]; pat=[]
nb=N*2//5
while len(at)<nb:
    a=rng.random()*END*.95
    for _ in range(min(rng.integers(12,31),nb-len(at))): at.append(a+rng.random()*3000)
while len(at)<N:
    s=rng.random()
    if rng.random()<.5+.5*np.sin(s*3*2*np.pi): at.append(s*END)
at=np.array(at); k=rng.integers(0,10,N)
pat=np.where(k<3,30000,np.where(k<7,120000,300000)); due=at+pat
w=np.array([4000,33000,8000])[None,:]*rng.integers(750,1351,(N,3))/1000
cost=np.stack([np.zeros(N),np.ceil(w[:,1]/1000)*190,np.full(N,68150.)],1)
edges=np.unique(np.concatenate([at,due]))
if len(edges)>501: edges=edges[(np.arange(501)*(len(edges)-1))//500]
L=np.diff(edges); K=len(L)
cap=np.stack([1.0*L,4*L,8*L]); 
first=np.maximum(np.searchsorted(edges,at,'right')-1,0); last=np.minimum(np.maximum(np.searchsorted(edges,due,'left')-1,first),K-1)
J=[];B=[];Kk=[]
for j in range(N):
    for b in range(3):
        if w[j,b]<=pat[j]:
            r=np.arange(first[j],last[j]+1); J.append(np.full(len(r),j)); B.append(np.full(len(r),b)); Kk.append(r)
J=np.concatenate(J);B=np.concatenate(B);Kk=np.concatenate(Kk); W=w[J,B]; C=cost[J,B]; I=B*K+Kk
capf=cap.ravel(); latec=cost.min(1); LP=68150*4.0
def run(late, stages):
    y=np.zeros(3*K); lam=0.; best=-1e18; by=y.copy(); bl=0.
    scale=np.median(np.sort(cost,1)[:,1]-np.sort(cost,1)[:,0])
    def val(y,lam):
        c=C+W*y[I]; m=latec+lam; m=m.copy(); np.minimum.at(m,J,c); return m.sum()-capf@y-lam*late
    for share,steps in stages:
        T=scale*share; y=by.copy();yb=y.copy();lam=bl;lamb=lam;mom=1.;lv=-1e18
        for s in range(1,steps+1):
            nx=(1+np.sqrt(1+4*mom*mom))/2; p=(mom-1)/nx
            ya=np.maximum(y+p*(y-yb),0); la=min(max(lam+p*(lam-lamb),0),LP)
            c=C+W*ya[I]; m=latec+la; m=m.copy(); np.minimum.at(m,J,c)
            e=np.exp(-(c-m[J])/T); el=np.exp(-(latec+la-m)/T); tot=el+np.bincount(J,e,N); sh=e/tot[J]; sl=el/tot
            load=np.bincount(I,sh*W,3*K); curve=np.bincount(I,sh*W*W,3*K)
            mean=np.where(load>0,curve/np.maximum(load,1e-30),1.); bound=np.maximum(mean*np.maximum(load,capf),1)
            yb=y;lamb=lam
            y=np.maximum(ya+T*(load-capf)/bound,0); lam=min(max(la+T*(sl.sum()-late)/max(sl.sum(),late,1),0),LP); mom=nx
            if s%25==0:
                v=val(y,lam)
                if v>best: best=v;by=y.copy();bl=lam
                if v<lv: mom=1.
                lv=v
    return best
st=[(.3,150),(.1,200),(.03,250),(.01,300),(.003,400)]
for late in (0,12):
    t=time.time(); v=run(late,st); t1=time.time()-t
    # the programme itself, by HiGHS
    n=len(J)+N; h=Highs(); h.setOptionValue('output_flag',False)
    lp=highspy.HighsLp(); lp.num_col_=n; lp.num_row_=N+3*K+1
    lp.col_cost_=np.concatenate([C,latec]); lp.col_lower_=np.zeros(n); lp.col_upper_=np.full(n,1e30)
    lp.row_lower_=np.concatenate([np.ones(N),np.full(3*K+1,-1e30)]); lp.row_upper_=np.concatenate([np.ones(N),capf,[late]])
    start=np.concatenate([2*np.arange(len(J)),2*len(J)+2*np.arange(N+1)])
    idx=np.empty(2*n,int); val=np.empty(2*n)
    idx[0:2*len(J):2]=J; idx[1:2*len(J):2]=N+I; val[0:2*len(J):2]=1; val[1:2*len(J):2]=W
    idx[2*len(J)::2]=np.arange(N); idx[2*len(J)+1::2]=N+3*K; val[2*len(J):]=1
    lp.a_matrix_.format_=highspy.MatrixFormat.kColwise; lp.a_matrix_.start_=start; lp.a_matrix_.index_=idx; lp.a_matrix_.value_=val
    h.passModel(lp); h.setOptionValue('solver','ipm'); h.setOptionValue('time_limit',60.0); t=time.time(); h.run()
    o=h.getInfo().objective_function_value
    print('late',late,'climb',round(v),'%.1fs'%t1,'LP',round(o),'%.1fs'%(time.time()-t),'short by',round((o-v)/(N*68150)*100,3),'% of all-Gemini; nnz',len(J))
