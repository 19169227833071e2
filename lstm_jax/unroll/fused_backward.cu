  // All steps backwards: iteration s is step t = T - 1 - s. flags reach s when dr of iteration s - 1 is there. `direct`
  // is the gradient of the carry before step t + 1: what `update` gives, and of the source the product with dr as well.
  float direct[EPT][NC], d_start[EPT][NC], d_wt[EPT][NWT > 0 ? NWT : 1];
  _Pragma("unroll") for (int i = 0; i < EPT; i++) {
    for (int n = 0; n < NC; n++) direct[i][n] = d_start[i][n] = 0.0f;
    for (int n = 0; n < NWT; n++) d_wt[i][n] = 0.0f;
  }
  for (int s = 0; s <= T; s++) {
    int t = T - 1 - s;
    float z[EPT][NZ], own_now[EPT][NO], g[EPT][NC];
    if (s < T) {
      FOR_EACH_UNIT // while the others come
        @LOAD_Z@
        @LOAD_OWN@
        @LOAD_GRADIENTS@
        if (t == 0) {
          @BEGIN@
        } else {
          @BEFORE@
        }
        @RESET@
      END_EACH
    }
    if (s > 0) {
      if (wait(flags, tid, s, dead)) {
        FOR_EACH_UNIT
          float dz[NZ], dr[R];
          for (int n = 0; n < NZ; n++) dz[n] = NAN_F;
          for (int n = 0; n < R; n++) dr[n] = NAN_F;
          for (int n = 0; n < NC; n++) direct[i][n] = d_start[i][n] = NAN_F;
          for (int n = 0; n < NWT; n++) d_wt[i][n] = NAN_F;
          for (int left = t; left >= 0; left--) {
            int t = left;
            @WRITE@
          }
          @WRITE_LAST@
        END_EACH
        return;
      }
      PRODUCT((s - 1) & 1)
      FOR_EACH_UNIT
        direct[i][SOURCE] += summed(areas, rank, j, b);
        @RESET_AFTER@
      END_EACH
    }
    if (s == T) break;
    float dz_now[EPT][NZ], dr_now[EPT][R];
    FOR_EACH_UNIT
      float dw[NWT > 0 ? NWT : 1], dc[NC], *dz = dz_now[i], *dr = dr_now[i];
      _Pragma("unroll") for (int n = 0; n < NC; n++) g[i][n] += direct[i][n];
      step_backward(wt[i], state[i], z[i], own_now[i], g[i], dw, dc, dz, dr);
      _Pragma("unroll") for (int n = 0; n < NC; n++) direct[i][n] = dc[n];
      for (int n = 0; n < NWT; n++) d_wt[i][n] += dw[n];
      _Pragma("unroll") for (int n = 0; n < R; n++)
        put(source, ((long)(s & 1) * B + b) * KP + (long)n * H + unit, rounded(dr[n]));
    END_EACH
    publish(flags, block, tid, s + 1);
    FOR_EACH_UNIT // what nobody waits for
      const float *dz = dz_now[i], *dr = dr_now[i];
      @WRITE@
    END_EACH
  }
  FOR_EACH_UNIT
    @WRITE_LAST@
  END_EACH
