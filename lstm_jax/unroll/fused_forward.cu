  // All steps forwards. flags reach t + 1 when the source of step t is there.
  FOR_EACH_UNIT
    @BEGIN@
    @RESET_FIRST@
    put(source, (long)b * KP + unit, rounded(state[i][SOURCE]));
  END_EACH
  publish(flags, block, tid, 1);
  for (int t = 0; t < T; t++) {
    float z[EPT][NZ];
    FOR_EACH_UNIT // while the others come
      @LOAD_Z@
    END_EACH
    if (wait(flags, tid, t + 1, dead)) {
      for (; t < T; t++) {
        FOR_EACH_UNIT
          @POISON@
        END_EACH
      }
      return;
    }
    PRODUCT(t & 1)
    float after[EPT][NC], own_now[EPT][NO];
    FOR_EACH_UNIT
      float r[R];
      _Pragma("unroll") for (int n = 0; n < R; n++) r[n] = summed(areas, rank, n * U + j, b);
      step_forward(wt[i], state[i], z[i], r, after[i], own_now[i]);
      _Pragma("unroll") for (int n = 0; n < NC; n++) state[i][n] = after[i][n];
      if (t + 1 < T) {
        @RESET_NEXT@
        put(source, ((long)((t + 1) & 1) * B + b) * KP + unit, rounded(state[i][SOURCE]));
      }
    END_EACH
    if (t + 1 < T) publish(flags, block, tid, t + 2);
    FOR_EACH_UNIT // what nobody waits for
      @WRITE@
    END_EACH
  }
