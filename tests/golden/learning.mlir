module {
  "snn.graph"() {version = 1 : i64, name = "main", dt = 0.001 : f64, record_offset = 0 : i64, source = "", digest = "", notes = []} : () -> ()
  %x = "snn.input"() {node = "x", signal = !snn.spikes<tensor<6xf32>>, metadata = []} : () -> !snn.spikes<tensor<6xf32>>
  %reward = "snn.input"() {node = "reward", signal = !snn.analog<tensor<1xf32>>, metadata = []} : () -> !snn.analog<tensor<1xf32>>
  %x.current = "snn.current"(%x) {node = "x.current", metadata = []} : (!snn.spikes<tensor<6xf32>>) -> !snn.analog<tensor<6xf32>>
  %x.trace = "snn.step"(%x.current) {node = "x.trace", dynamics = @trace, params = [["decay", dense<0.8> : tensor<f32>]], model = "", unit = unit, bits = 0 : i64, metadata = []} : (!snn.analog<tensor<6xf32>>) -> !snn.analog<tensor<6xf32>>
  %before = "snn.delay"(%x) {node = "before", steps = 1 : i64, seconds = unit, metadata = []} : (!snn.spikes<tensor<6xf32>>) -> !snn.spikes<tensor<6xf32>>
  %synapses = "snn.plastic_5"(%before, %x, %x.trace, %out, %reward) {node = "synapses", rule = @rewarded, params = [["weight", dense<"0x82c2d93eeb0fa33ed7d9823e7a210a3ed09b1d3ed0d3a73c80171a3de064073c4479b33d7a32d03e1c40a63e59aae93eb2ed803e7b4c9b3e9a82f83e49c0ba3e7fdca13e012b8b3ebf568f3ee860ef3e6e000e3ec7dbd03e90beab3e0078b33a"> : tensor<4x6xf32>], ["nu", dense<0.02> : tensor<f32>], ["decay", dense<0.75> : tensor<f32>]], reads = ["pre", "pre", "post", "all"], total = dense<1.5> : tensor<f32>, sums = "order", metadata = []} : (!snn.spikes<tensor<6xf32>>, !snn.spikes<tensor<6xf32>>, !snn.analog<tensor<6xf32>>, !snn.spikes<tensor<4xf32>>, !snn.analog<tensor<1xf32>>) -> !snn.analog<tensor<4xf32>>
  %out = "snn.step"(%synapses) {node = "out", dynamics = @adaptive, params = [["beta", dense<0.875> : tensor<f32>], ["threshold", dense<0.75> : tensor<f32>], ["plus", dense<0.0625> : tensor<f32>], ["theta_decay", dense<0.99> : tensor<f32>]], model = "", unit = unit, bits = 0 : i64, metadata = []} : (!snn.analog<tensor<4xf32>>) -> !snn.spikes<tensor<4xf32>>
  %out.current = "snn.current"(%out) {node = "out.current", metadata = []} : (!snn.spikes<tensor<4xf32>>) -> !snn.analog<tensor<4xf32>>
  %out.trace = "snn.step"(%out.current) {node = "out.trace", dynamics = @trace, params = [["decay", dense<0.7> : tensor<f32>]], model = "", unit = unit, bits = 0 : i64, metadata = []} : (!snn.analog<tensor<4xf32>>) -> !snn.analog<tensor<4xf32>>
  "snn.output"(%out) {name = "output"} : (!snn.spikes<tensor<4xf32>>) -> ()
  module @trace {
    "snn.program"() {name = "trace", dtype = "f32"} : () -> ()
    %trace.s = "snn.program_input"() {name = "s"} : () -> f32
    %trace.decay = "snn.program_param"() {name = "decay", unit = "1"} : () -> f32
    %trace.x = "snn.program_state"() {name = "x", initial = 0.0 : f64, lasting = false} : () -> f32
    %trace.c = "snn.constant"() {value = 0.5 : f64} : () -> f32
    %trace.t0 = "snn.scalar_gt"(%trace.s, %trace.c) {name = "t0"} : (f32, f32) -> i1
    %trace.t1 = "snn.scalar_mul"(%trace.x, %trace.decay) {name = "t1"} : (f32, f32) -> f32
    %trace.c_2 = "snn.constant"() {value = 1.0 : f64} : () -> f32
    %trace.t2 = "snn.scalar_select"(%trace.t0, %trace.c_2, %trace.t1) {name = "t2"} : (i1, f32, f32) -> f32
    "snn.program_next"(%trace.t2) {state = "x"} : (f32) -> ()
    "snn.program_emit"(%trace.t2) {kind = "analog"} : (f32) -> ()
  }
  module @rewarded {
    "snn.program"() {name = "rewarded", dtype = "f32"} : () -> ()
    %rewarded.pre = "snn.program_input"() {name = "pre"} : () -> f32
    %rewarded.x_pre = "snn.program_input"() {name = "x_pre"} : () -> f32
    %rewarded.post = "snn.program_input"() {name = "post"} : () -> f32
    %rewarded.reward = "snn.program_input"() {name = "reward"} : () -> f32
    %rewarded.weight = "snn.program_param"() {name = "weight", unit = "1"} : () -> f32
    %rewarded.nu = "snn.program_param"() {name = "nu", unit = "1"} : () -> f32
    %rewarded.decay = "snn.program_param"() {name = "decay", unit = "1"} : () -> f32
    %rewarded.e = "snn.program_state"() {name = "e", initial = 0.0 : f64, lasting = false} : () -> f32
    %rewarded.w = "snn.program_state"() {name = "w", initial = "weight", lasting = true} : () -> f32
    %rewarded.t0 = "snn.scalar_mul"(%rewarded.e, %rewarded.decay) {name = "t0"} : (f32, f32) -> f32
    %rewarded.t1 = "snn.scalar_mul"(%rewarded.x_pre, %rewarded.post) {name = "t1"} : (f32, f32) -> f32
    %rewarded.t2 = "snn.scalar_add"(%rewarded.t0, %rewarded.t1) {name = "t2"} : (f32, f32) -> f32
    %rewarded.c = "snn.constant"() {value = 0.5 : f64} : () -> f32
    %rewarded.t3 = "snn.scalar_mul"(%rewarded.c, %rewarded.pre) {name = "t3"} : (f32, f32) -> f32
    %rewarded.t4 = "snn.scalar_sub"(%rewarded.t2, %rewarded.t3) {name = "t4"} : (f32, f32) -> f32
    %rewarded.t5 = "snn.scalar_mul"(%rewarded.reward, %rewarded.e) {name = "t5"} : (f32, f32) -> f32
    %rewarded.t6 = "snn.scalar_batch_sum"(%rewarded.t5) {name = "t6"} : (f32) -> f32
    %rewarded.t7 = "snn.scalar_mul"(%rewarded.nu, %rewarded.t6) {name = "t7"} : (f32, f32) -> f32
    %rewarded.t8 = "snn.scalar_add"(%rewarded.w, %rewarded.t7) {name = "t8"} : (f32, f32) -> f32
    "snn.program_next"(%rewarded.t4) {state = "e"} : (f32) -> ()
    "snn.program_next"(%rewarded.t8) {state = "w"} : (f32) -> ()
  }
  module @adaptive {
    "snn.program"() {name = "adaptive", dtype = "f32"} : () -> ()
    %adaptive.x = "snn.program_input"() {name = "x"} : () -> f32
    %adaptive.beta = "snn.program_param"() {name = "beta", unit = "1"} : () -> f32
    %adaptive.threshold = "snn.program_param"() {name = "threshold", unit = "1"} : () -> f32
    %adaptive.plus = "snn.program_param"() {name = "plus", unit = "1"} : () -> f32
    %adaptive.theta_decay = "snn.program_param"() {name = "theta_decay", unit = "1"} : () -> f32
    %adaptive.v = "snn.program_state"() {name = "v", initial = 0.0 : f64, lasting = false} : () -> f32
    %adaptive.theta = "snn.program_state"() {name = "theta", initial = 0.0 : f64, lasting = true} : () -> f32
    %adaptive.t0 = "snn.scalar_mul"(%adaptive.beta, %adaptive.v) {name = "t0"} : (f32, f32) -> f32
    %adaptive.t1 = "snn.scalar_add"(%adaptive.t0, %adaptive.x) {name = "t1"} : (f32, f32) -> f32
    %adaptive.t2 = "snn.scalar_add"(%adaptive.threshold, %adaptive.theta) {name = "t2"} : (f32, f32) -> f32
    %adaptive.t3 = "snn.scalar_ge"(%adaptive.t1, %adaptive.t2) {name = "t3"} : (f32, f32) -> i1
    %adaptive.t4 = "snn.scalar_mul"(%adaptive.theta, %adaptive.theta_decay) {name = "t4"} : (f32, f32) -> f32
    %adaptive.c = "snn.constant"() {value = 1.0 : f64} : () -> f32
    %adaptive.c_2 = "snn.constant"() {value = 0.0 : f64} : () -> f32
    %adaptive.t5 = "snn.scalar_select"(%adaptive.t3, %adaptive.c, %adaptive.c_2) {name = "t5"} : (i1, f32, f32) -> f32
    %adaptive.t6 = "snn.scalar_batch_sum"(%adaptive.t5) {name = "t6"} : (f32) -> f32
    %adaptive.t7 = "snn.scalar_mul"(%adaptive.plus, %adaptive.t6) {name = "t7"} : (f32, f32) -> f32
    %adaptive.t8 = "snn.scalar_add"(%adaptive.t4, %adaptive.t7) {name = "t8"} : (f32, f32) -> f32
    %adaptive.c_3 = "snn.constant"() {value = 0.0 : f64} : () -> f32
    %adaptive.t9 = "snn.scalar_select"(%adaptive.t3, %adaptive.c_3, %adaptive.t1) {name = "t9"} : (i1, f32, f32) -> f32
    %adaptive.t10 = "snn.scalar_cast"(%adaptive.t3) {name = "t10"} : (i1) -> f32
    "snn.program_next"(%adaptive.t9) {state = "v"} : (f32) -> ()
    "snn.program_next"(%adaptive.t8) {state = "theta"} : (f32) -> ()
    "snn.program_emit"(%adaptive.t10) {kind = "spikes"} : (f32) -> ()
  }
}
